"""Influence as products of factors: KF-RTRL, OK, UORO."""
