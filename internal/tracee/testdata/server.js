const http = require("http");
const server = http.createServer((request, response) => response.end(request.url));
server.listen(0, "127.0.0.1", () => console.log("ready port", server.address().port));
