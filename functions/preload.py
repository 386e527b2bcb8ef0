"""Imports every function and what they share. A fork server imports this once; each process it forks has it already."""

import argon2
import asyncpg
import asyncpg.pgproto.pgproto
import h11
import httpcore
import httptools
import httpx
import joserfc.jwt
import redis.asyncio
import uvicorn
import uvicorn.lifespan.on
import uvicorn.protocols.http.httptools_impl
import uvloop

import functions.rpc.serving
import functions.serve
from functions.migrated import FOLDERS, shipped
from functions.operations import known, load

__all__ = [
    "argon2",
    "asyncpg",
    "functions",
    "h11",
    "httpcore",
    "httptools",
    "httpx",
    "joserfc",
    "redis",
    "uvicorn",
    "uvloop",
]

for _name in FOLDERS:
    shipped(_name)
_failures: list[Exception] = []
for _name in known():
    try:
        load(_name)
    except Exception as _error:  # noqa: BLE001 - one that is broken must not keep the others from being loaded.
        _failures.append(_error)
if _failures:
    raise _failures[0]
