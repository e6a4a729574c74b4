"""What runs the pipeline on one machine without Docker."""
