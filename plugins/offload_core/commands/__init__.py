"""The commands of `offload`; `offload_core.cli` gives them their names."""
