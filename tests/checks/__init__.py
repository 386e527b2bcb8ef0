"""What `make check` looks at beyond linters."""
