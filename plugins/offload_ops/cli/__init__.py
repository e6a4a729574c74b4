"""The commands of `offload`. `offload_ops.cli.app` gives them their names."""
