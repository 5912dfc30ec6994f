"""How the model `shapes` is made and judged: a tiny text-to-image model of coloured forms.

Not part of the installed library: it runs once to train the weights that ship with the project,
and again whenever somebody wants to check what pictures are worth.
"""
