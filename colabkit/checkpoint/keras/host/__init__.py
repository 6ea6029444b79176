"""What a `fit` keeps beside the variables of its model: callbacks, random states, the user's own objects."""
