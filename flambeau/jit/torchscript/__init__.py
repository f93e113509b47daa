"""TorchScript programs that PyTorch has written: `torch.jit.load` reads them, and an interpreter runs them.

- ``archive.py`` reads the file; ``source.py`` its source, and ``types.py`` the annotations in it
- ``interpreter.py`` runs functions: operators on tensors are in ``operators.py``, those on plain values in ``plain.py`` and ``text.py``
- ``module.py`` is what a user gets, ``objects.py`` what else a program makes

Nothing of a file is run as Python. What a program can do is in the tables of operators: compute with tensors and plain values, and print.
"""
