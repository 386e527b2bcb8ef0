"""The handler that a Lambda function names: `functions.aws.handler.handle`; the setting FUNCTION says which function.

The one module that does something when it is imported: that is Lambda's init phase, once an environment, and what fails
in it is reported as such (`Runtime.ExitError`, with our own message) before any call is taken.
"""

from __future__ import annotations

import os

from functions.aws.environment import Environment

handle = Environment.of(os.environ).handle
