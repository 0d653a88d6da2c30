// A server on Asio that does what a websocket server does to a phone: it writes to
// each connection now and then, and reads what comes.
//
//   websocket ADDRESS   prints its port and pid

#include <unistd.h>

#include <array>
#include <asio.hpp>
#include <chrono>
#include <iostream>
#include <memory>

using asio::ip::tcp;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : socket_(std::move(socket)), timer_(socket_.get_executor()) {}
  void start() {
    receive();
    send();
  }

 private:
  void receive() {
    socket_.async_read_some(asio::buffer(in_), [self = shared_from_this()](asio::error_code error, std::size_t) {
      if (error) {
        self->timer_.cancel();
        self->socket_.close(error);
      } else {
        self->receive();
      }
    });
  }
  void send() {
    asio::async_write(socket_, asio::buffer(out_), [self = shared_from_this()](asio::error_code error, std::size_t) {
      if (error) return;
      self->timer_.expires_after(std::chrono::milliseconds(20));
      self->timer_.async_wait([self](asio::error_code error) {
        if (!error) self->send();
      });
    });
  }
  tcp::socket socket_;
  asio::steady_timer timer_;
  std::array<char, 2000> in_{}, out_{};
};

static void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](asio::error_code error, tcp::socket socket) {
    if (!error) std::make_shared<Session>(std::move(socket))->start();
    accept(acceptor);
  });
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  asio::io_context context;
  tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::make_address(argv[1]), 0));
  std::cout << acceptor.local_endpoint().port() << " " << getpid() << std::endl;
  accept(acceptor);
  context.run();
}
