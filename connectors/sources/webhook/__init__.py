"""What a receiver of webhooks needs: signatures, and a small HTTP server with a limit for everything.

signature   checks the signature of a request. Pure
server      an HTTP/1.1 server that hands each request to a function
"""
