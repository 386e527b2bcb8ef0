"""What `wake deadletters` and `wake replay` may be told; what they do is in the modules of these names."""

from __future__ import annotations

import argparse
from pathlib import Path


def count(text: str) -> int:
    """How many: 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def deadletters(parser: argparse.ArgumentParser) -> None:
    """The subcommands, each with what it may be told."""
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)

    def one(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(work=name)
        _where(made)
        return made

    listed = one("list", "list dead letters, the newest first")
    _filters(listed)
    listed.add_argument(
        "--state",
        dest="letter_state",
        choices=("kept", "redriven", "discarded", "all"),
        default="kept",
        help="what became of them (kept)",
    )
    listed.add_argument("-n", "--last", type=count, default=50, help="how many at most (50)")
    for name, text in (
        ("show", "show the event, why it is here, every attempt and every change"),
        ("diff", "show how the event breaks its type's schema, and what was edited"),
        ("dry-run", "ask the function what it would do with the event now; changes nothing"),
    ):
        one(name, text).add_argument("id", help="a dead letter's id, or its beginning or end")
    edited = one("edit", "change the event; it gets a new id, and the original is kept")
    edited.add_argument("id", help="a dead letter's id, or its beginning or end")
    edited.add_argument(
        "--set", metavar="PATH=VALUE", action="append", default=[], help="a value in the data (JSON, or text)"
    )
    edited.add_argument("--unset", metavar="PATH", action="append", default=[], help="take a value out of the data")
    edited.add_argument("--data", metavar="FILE", help="the data as a whole, - for standard input")
    edited.add_argument("--attribute", metavar="NAME=VALUE", action="append", default=[], help="nothing takes it away")
    edited.add_argument("--why", required=True, help="for the record")
    again = one("redrive", "send events again, to the function that failed and to no other")
    again.add_argument("ids", nargs="*", metavar="ID", help="dead letters' ids, or their beginnings or ends")
    _filters(again)
    again.add_argument("--all", action="store_true", help="every one that is kept")
    gone = one("discard", "do nothing about these; they are kept for the record")
    gone.add_argument("ids", nargs="+", metavar="ID", help="dead letters' ids, or their beginnings or ends")
    gone.add_argument("--why", required=True, help="for the record")


def replay(parser: argparse.ArgumentParser) -> None:
    """To whom, and which events."""
    parser.add_argument("--trigger", required=True, metavar="NAME", help="the Trigger whose subscriber gets them")
    parser.add_argument("--type", help="only events of this type")
    parser.add_argument("--subject", help="only those about this subject (an order's id)")
    parser.add_argument("--since", help="only those published since: RFC 3339, or a span such as 90m, 2h, 3d")
    parser.add_argument("--until", help="only those published before: the same")
    parser.add_argument("--dry-run", action="store_true", help="say what would become of each; send none")
    _where(parser)


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--url", help="another installation's API (default: the running one here)")
    parser.add_argument("--token-file", type=Path, help="a file with an admin's token (POST /tokens)")


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--type", help="only events of this type")
    parser.add_argument("--subject", help="only those about this subject (an order's id)")
    parser.add_argument("--destination", help="only those that failed here: a function's name, or a URL")
    parser.add_argument("--since", help="only those kept since: RFC 3339, or a span such as 90m, 2h, 3d")
