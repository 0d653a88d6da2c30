# An HTTP server of threads and one of asyncio, as the argument says.
import asyncio
import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


async def serve(reader, writer):
    try:
        while line := await reader.readline():
            body = line.split()[1]
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except ConnectionResetError:
        pass  # the way in which a client that is done leaves no TIME_WAIT
    writer.close()


async def run():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("ready port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if sys.argv[1] == "asyncio":
    asyncio.run(run())
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print("ready port", server.server_address[1], flush=True)
    server.serve_forever()
