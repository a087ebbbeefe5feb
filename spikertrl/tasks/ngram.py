"""Bars for character streams: what counting n-grams achieves, in bits per symbol."""

from __future__ import annotations

import numpy as np

from .. import arguments


def ngram_bits(
    symbols: np.ndarray,
    order: int,
    *,
    alpha: float = 0.5,
    n_symbols: int | None = None,
    history: np.ndarray | None = None,
    method: str = "adaptive",
) -> float:
    """Bits per symbol of predicting each symbol from the ``order`` symbols before it, by counting.

    * "adaptive" is a fair opponent of online learning: every symbol is predicted from the counts so far and counted
      afterwards, ``p = (count(context, symbol) + alpha) / (count(context) + alpha * n_symbols)``. Long contexts on short texts
      depend much on alpha, so state it.
    * "plain" is the conditional entropy of the counts of the whole text, which knows the future: no predictor with one fixed
      distribution per context does better on this very text.

    Parameters
    ----------
    symbols : int ndarray (N,)
        The text, as indices >= 0.
    order : int
        Symbols of context, >= 0. The first ``order`` symbols are not scored (with ``history`` they are).
    alpha : float
        What every count starts from, > 0; 0.5 is the Krichevsky-Trofimov estimator.
    n_symbols : int, optional
        Size of the alphabet; by default the number of different symbols in symbols and history.
    history : int ndarray, optional
        Text read and counted before, not scored: with the training part here, ``symbols`` may be a held-out part.
    method : "adaptive" or "plain"
        As above; "plain" uses neither alpha, n_symbols nor history.

    Raises
    ------
    ValueError
        If the text is too short, or an argument is out of range.

    References
    ----------
    Krichevsky and Trofimov 1981.

    Examples
    --------
    >>> text = np.array([0, 1] * 500)
    >>> ngram_bits(text, 0, method="plain"), ngram_bits(text, 1, method="plain")
    (1.0, 0.0)
    >>> round(ngram_bits(text, 0), 3), round(ngram_bits(text, 1), 3)
    (1.005, 0.011)
    """
    where = "ngram_bits"
    arguments.choice(where, "method", method, ("adaptive", "plain"))
    order, alpha = arguments.whole(where, "order", order, 0), arguments.number(where, "alpha", alpha, 0, above=True)
    for what, given in {"symbols": symbols, "history": () if history is None else history}.items():
        row = arguments.numbers(where, what, given)
        if row.ndim != 1 or (row.size and (row.dtype.kind not in "iu" or row.min() < 0)):
            raise arguments.refuse(where, what, given, "a row of whole numbers >= 0")
    seen = np.zeros(0, int) if history is None or method == "plain" else np.asarray(history)
    text = np.unique(np.concatenate([seen, np.asarray(symbols)]), return_inverse=True)[1]
    if len(text) <= order:
        raise ValueError(f"ngram_bits: {len(text)} symbols are too few for contexts of {order}; give at least {order + 1}")
    contexts, grams = _codes(text, order)
    if method == "plain":
        return float(np.mean(np.log2(_totals(contexts) / _totals(grams))))
    found = int(text.max()) + 1
    size = found if n_symbols is None else arguments.whole(where, "n_symbols", n_symbols, found)
    bits = -np.log2((_earlier(grams) + alpha) / (_earlier(contexts) + alpha * size))
    return float(bits[max(len(seen) - order, 0) :].mean())


def _codes(text: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Small integers that name the context, and context plus symbol, of every position from ``order`` on."""
    count = len(text) - order
    contexts = np.zeros(count, np.int64)
    for back in range(order):
        contexts = np.unique(contexts * (text.max() + 1) + text[back : back + count], return_inverse=True)[1]
    return contexts, np.unique(contexts * (text.max() + 1) + text[order:], return_inverse=True)[1]


def _totals(codes: np.ndarray) -> np.ndarray:
    return np.bincount(codes)[codes]


def _earlier(codes: np.ndarray) -> np.ndarray:
    """How often the code of each position occurred before it."""
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes))])[codes[order]]
    earlier = np.empty_like(order)
    earlier[order] = np.arange(len(codes)) - starts
    return earlier
