"""The image: what builds it (`make image`) and what is in it (`make sbom`)."""
