"""What is shipped is what a cluster takes."""
