"""The embedded profile: about 6 M parameters, trained only on people who do not exist."""
