"""A page on this machine that lets a model write and shows what it expected at each token: the
server is `app.py`, what a request may ask for is in `asked.py`, the page is `page.*`.
"""

from .app import application, serve

__all__ = ["application", "serve"]
