# A Crystal server that starts sleep(1). Its listener lacks FD_CLOEXEC (Crystal
# before 1.7), and so sleep inherits it. Commands come on standard input.
require "socket"

server = TCPServer.new("127.0.0.1", 0)
child = Process.new("sleep", ["3600"])
puts "#{server.local_address.port} #{Process.pid} #{child.pid}"
STDOUT.flush
while line = gets
  case line
  when "close"
    server.close
    puts "closed"
    STDOUT.flush
  end
end
child.signal(Signal::KILL)
child.wait
