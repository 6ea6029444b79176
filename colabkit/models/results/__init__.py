"""What a training gives back: the result, how good it is, its pictures, the classifier."""
