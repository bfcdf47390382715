"""The `pipeline-assets` command: thin wrappers over the rooms below."""
