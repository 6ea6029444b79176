"""The running `fit`: what its callback does at each event, how far it is, and what is saved of it."""
