"""`make aws-check`: the template through cfn-lint, and an order through a bus, rules and queues as the template has it.

They are moto's, which speaks EventBridge's and SQS' protocols on a port of this machine; the functions are processes of
AWS' runtime client. Not a part of `make test`: the tools are in an environment of their own (requirements-aws.txt).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from eventing.event import new_id
from eventing.sigv4 import Credentials, signed
from knative.runtime import child
from tests.conftest import ROOT
from tests.functions.aws.runtime_api import Lambda, running, sample
from tests.functions.conftest import KEY, Users, bearer
from tests.functions.processes import Function

TOOLS = Path(os.environ.get("AWS_TOOLS", ROOT / ".venv/aws-tools")) / "bin"
TEMPLATE = ROOT / "knative/overlays/lambda/template.yaml"
ROLE = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_SESSION_TOKEN": "testing"}
REGION = "eu-central-1"
_PATIENCE_SECONDS = 20.0


def test_cfn_lint_has_nothing_to_say() -> None:
    """It transforms the template as SAM does, and holds the result to CloudFormation's schemas."""
    ended = subprocess.run([TOOLS / "cfn-lint", TEMPLATE], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_cfn_lint_would_have_something_to_say(tmp_path: Path) -> None:
    """Of a template in which something is wrong."""
    broken = tmp_path / "template.yaml"
    broken.write_text(TEMPLATE.read_text().replace("VisibilityTimeout: 60", "VisibilityTimeout: soon"))
    ended = subprocess.run([TOOLS / "cfn-lint", broken], capture_output=True, text=True, check=False)

    assert ended.returncode != 0
    assert "'soon' is not of type 'integer'" in ended.stdout


class Aws:
    """An account: what the template's resources are made into, by API calls that CloudFormation would make."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=10)
        self.queues: dict[str, str] = {}

    def call(self, service: str, target: str, **body: Any) -> dict[str, Any]:
        """One call of an API in AWS' JSON protocol."""
        content = json.dumps(body).encode()
        version = "1.1" if service == "events" else "1.0"
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        host = self.url.removeprefix("http://")
        role = Credentials.from_environment(ROLE)
        made = signed(host, headers, content, role, region=REGION, service=service, now=datetime.now(UTC))
        answer = self._http.post("/", content=content, headers=made)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()) if answer.content else {}

    def deploy(self, resources: dict[str, Any]) -> None:
        """Buses, queues, rules."""
        for name, one in resources.items():
            if one["Type"] == "AWS::Events::EventBus":
                self.call("events", "AWSEvents.CreateEventBus", Name=name)
            elif one["Type"] == "AWS::SQS::Queue":
                self.queues[name] = self.call("sqs", "AmazonSQS.CreateQueue", QueueName=name)["QueueUrl"]
        for name, one in resources.items():
            if one["Type"] == "AWS::Events::Rule":
                self._rule(name, one["Properties"])

    def _rule(self, name: str, rule: dict[str, Any]) -> None:
        bus = rule["EventBusName"]["Ref"]
        self.call(
            "events", "AWSEvents.PutRule", Name=name, EventBusName=bus, EventPattern=json.dumps(rule["EventPattern"])
        )
        for target in rule["Targets"]:
            queue = target["Arn"]["Fn::GetAtt"][0]
            arn = f"arn:aws:sqs:{REGION}:123456789012:{queue}"
            made = {"Id": target["Id"], "Arn": arn, "InputPath": target["InputPath"]}
            self.call("events", "AWSEvents.PutTargets", Rule=name, EventBusName=bus, Targets=[made])

    def poll(self, queue: str, function: Lambda) -> int:
        """As Lambda's event source mapping does: a batch, and what has not failed is deleted. How many there were."""
        url = self.queues[queue]
        found = self.call("sqs", "AmazonSQS.ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10).get("Messages") or []
        if found:
            records = [sample("sqs_record", id=one["MessageId"], event=one["Body"]) for one in found]
            failed = {one["itemIdentifier"] for one in function.invoke({"Records": records})["batchItemFailures"]}
            for one in found:
                if one["MessageId"] not in failed:
                    self.call("sqs", "AmazonSQS.DeleteMessage", QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return len(found)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    """An account of this test's own."""
    port = child.free_port()
    with (tmp_path / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [TOOLS / "moto_server", "--port", str(port)], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while not child.accepts("127.0.0.1", port):
            assert process.poll() is None, (tmp_path / "moto.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        made = Aws(f"http://127.0.0.1:{port}")
        yield made
        made.close()
    finally:
        process.kill()
        process.wait()


def test_an_order_is_confirmed_through_the_bus_and_the_queues(
    aws: Aws, tmp_path: Path, database_url: Callable[[str], str], users: Users
) -> None:
    """Placed, charged and confirmed by three functions that know of each other only what the template says."""
    aws.deploy(yaml.safe_load(TEMPLATE.read_text())["Resources"])
    settings = {
        **ROLE,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": aws.url,
        "K_SINK": "eventbridge://DefaultBus",
        "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
        "USERS_CALLS": "http",
        "USERS_GET_URL": users.get.url,
    }
    orders, payments = database_url("orders"), database_url("payments")
    cards = Function("payments-simulate", DATABASE_URL=database_url("cards"))
    cards.start()
    charging = {**settings, "DATABASE_URL": payments, "CARD_PROCESSOR_URL": cards.url}
    with (
        running(tmp_path, **settings, DATABASE_URL=orders, FUNCTION="orders-place") as place,
        running(tmp_path, **charging, FUNCTION="payments-charge") as charge,
        running(tmp_path, **settings, DATABASE_URL=orders, FUNCTION="orders-confirm") as confirm,
        running(tmp_path, **settings, DATABASE_URL=orders, FUNCTION="orders-get") as get,
    ):
        body = json.dumps({"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"})
        event = sample("api_gateway_v1", authorization=bearer("ada")["authorization"], key=new_id(), body=body)
        order_id = json.loads(place.invoke(event)["body"])["order_id"]
        looked = event | {"httpMethod": "GET", "path": f"/orders/{order_id}", "body": None}
        charged = aws.poll("PaymentsChargeQueue", charge)
        confirmed = aws.poll("OrdersConfirmQueue", confirm)
        order = json.loads(get.invoke(looked)["body"])
        left = [
            aws.poll(queue, confirm) for queue in ("PaymentsChargeQueue", "OrdersConfirmQueue", "DeadlettersKeepQueue")
        ]
    cards.close()

    assert (charged, confirmed, left) == (1, 1, [0, 0, 0])
    assert order["status"] == "confirmed"


def test_what_is_uploaded_is_whole(tmp_path: Path) -> None:
    """`make lambda`, for this machine, serves, without what was deleted; it is within Lambda's 250 MB for a package."""
    folder = tmp_path / "package"
    deleted = ROOT / "build/lib/functions/deleted.py"
    deleted.parent.mkdir(parents=True, exist_ok=True)
    deleted.touch()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    made = [f"LAMBDA_FOLDER={folder}", f"LAMBDA_MACHINE={platform.machine()}", f"LAMBDA_PYTHON={version}"]
    subprocess.run(["make", "--silent", "lambda", *made], cwd=ROOT, check=True, capture_output=True)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    keys = {"FUNCTION": "users-keys", "TOKEN_KEYS": '{"keys":[]}'}
    event = sample("function_url", authorization="", key="", body="")
    event["requestContext"]["http"] |= {"method": "GET", "path": "/.well-known/jwks.json"}
    with running(tmp_path, path=str(folder), PYTHONSAFEPATH="1", **keys) as served:
        answer = served.invoke(event)

    assert (answer["statusCode"], answer["body"]) == (200, '{"keys":[]}')
    assert not (folder / "functions" / deleted.name).exists()
    assert size < 250 * 1024 * 1024
