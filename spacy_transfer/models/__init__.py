"""thinc models: from Docs to tensors, through one PyTorch shim."""
