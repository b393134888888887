"""The neural network, in plain PyTorch: encoders, CRF, transfer objective."""
