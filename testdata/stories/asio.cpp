// A server on Asio, which is what Crow stands on, whose request handler forks.
// A request is one byte: 'f' forks a child that waits for a signal and answers
// with its pid; anything else answers "ok".
#include <asio.hpp>

#include <functional>
#include <iostream>
#include <string>
#include <unistd.h>

using asio::ip::tcp;

int main() {
	asio::io_context io;
	tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
	std::cout << acceptor.local_endpoint().port() << " " << getpid() << std::endl;

	std::function<void()> accept = [&] {
		acceptor.async_accept([&](std::error_code error, tcp::socket socket) {
			std::error_code ignored;
			char request = 0;
			if (!error && socket.read_some(asio::buffer(&request, 1), ignored) == 1) {
				std::string answer = "ok\n";
				if (request == 'f') {
					pid_t child = fork();
					if (child == 0)
						for (;;)
							pause();
					answer = std::to_string(child) + "\n";
				}
				asio::write(socket, asio::buffer(answer), ignored);
			}
			accept();
		});
	};
	accept();
	io.run();
}
