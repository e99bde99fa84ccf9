"""The lessons. `src/NN_title.py` is what people edit; `NN_title.ipynb` is made from it: `python -m notebooks`."""
