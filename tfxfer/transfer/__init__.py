"""The three transfers: feature f(x) = W·φ(x) + b, knowledge K = f(X)·g(Y) + h(X, Y), structure M = T(S)."""
