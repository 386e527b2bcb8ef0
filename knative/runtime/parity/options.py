"""What `wake parity` may be told."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Runs the scenarios of an order, and of what belongs to it, against an installation of Wake (a laptop, a cluster, Lambda)
and compares status, headers and bodies with those that a laptop gave, or with those of a second installation. Ids,
times and tokens are each installation's own, and compared for being the same where they were the same.

It writes: five users and some thirty orders, whose buyers are called parity-…; the users are deactivated in the end,
the orders stay. --read-only writes nothing. No real card is charged, unless --card-token names one."""
EPILOGUE = """\
Exits with 0 (all that was compared is the same), 1 (something differs) or 2 (it cannot be reached or used, or wrong
use). Redirects are not followed. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured, but for gRPC; SSL_CERT_FILE
names your own authority's certificate."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.description, parser.epilog = DESCRIPTION, EPILOGUE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("url", nargs="?", help="what is compared: where the API is (default: the running one here)")
    parser.add_argument("reference", nargs="?", help="what it is compared with: another installation")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with this record (that of a laptop)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write down what it answers; compare nothing")
    _which(parser)
    _how(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", action="store_true", help="list the scenarios; ask nobody")
    parser.add_argument("--scenario", metavar="NAME", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--without", metavar="NAME", action="append", default=[], help="not this one; repeatable")
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="only those that send nothing but GET and HEAD, and reading calls of gRPC",
    )
    parser.add_argument(
        "--complete", action="store_true", help="what has to be left out, for want of gRPC or a token, is a difference"
    )


def _how(parser: argparse.ArgumentParser) -> None:
    both = "; given twice, the second is for the second URL"
    parser.add_argument(
        "--host-header", metavar="NAME", action="append", default=[], help=f"call it by this name, in TLS too{both}"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help=f"an admin's token (POST /tokens), for what only an admin may{both}",
    )
    parser.add_argument(
        "--header-file",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help=f"headers for a gateway in front, `Name: value` a line{both}",
    )
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    parser.add_argument(
        "--card-token",
        metavar="TOKEN",
        default="",
        help="where real cards are charged: pay 1.00 EUR with this, and refund it",
    )
    parser.add_argument("--timeout", type=seconds, default=60.0, metavar="SECONDS", help="for one answer (60)")
    parser.add_argument(
        "--patience",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="for what follows by event, such as a payment (60)",
    )


def seconds(text: str) -> float:
    """A number of seconds above 0, at most an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to 3600")
    return value
