"""``limen check``: asks of every endpoint who may call it, what about this very object, what comes in, what goes out.

It works on any FastAPI or Starlette application, whether it knows limen or not.
"""
