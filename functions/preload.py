"""Imports what functions share. A fork server imports this once; each function it forks has it already."""

import argon2
import asyncpg
import asyncpg.pgproto.pgproto
import h11
import httpcore
import httptools
import httpx
import joserfc.jwt
import uvicorn
import uvicorn.lifespan.on
import uvicorn.protocols.http.httptools_impl
import uvloop

import eventing.outbox
import functions.app
import functions.idempotency
import functions.identity
import functions.money
import functions.serve

__all__ = [
    "argon2",
    "asyncpg",
    "eventing",
    "functions",
    "h11",
    "httpcore",
    "httptools",
    "httpx",
    "joserfc",
    "uvicorn",
    "uvloop",
]
