// A Cap'n Proto server, and a client that queues calls without waiting for their
// answers:
//
//   sink server        prints its port and pid
//   sink client PORT N prints its pid; on a line from its standard input it queues
//                      N calls of 200 bytes and prints "queued"; on the next it
//                      destroys its client object, with all that is queued

#include <capnp/ez-rpc.h>
#include <kj/async-io.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sink.capnp.h"

class SinkServer final : public Sink::Server {
  kj::Promise<void> put(PutContext) override { return kj::READY_NOW; }
};

static void awaitLine() {
  char c;
  while (read(0, &c, 1) == 1 && c != '\n') {
  }
}

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "server") == 0) {
    capnp::EzRpcServer server(kj::heap<SinkServer>(), "127.0.0.1", 0);
    auto& scope = server.getWaitScope();
    std::printf("%u %d\n", server.getPort().wait(scope), getpid());
    std::fflush(stdout);
    kj::Promise<void>(kj::NEVER_DONE).wait(scope);
  }
  if (argc != 4) return 2;
  auto client = kj::heap<capnp::EzRpcClient>("127.0.0.1", std::atoi(argv[2]));
  auto& scope = client->getWaitScope();
  kj::Maybe<Sink::Client> sink = client->getMain<Sink>();
  KJ_ASSERT_NONNULL(sink).putRequest().send().wait(scope);
  std::printf("%d\n", getpid());
  std::fflush(stdout);

  awaitLine();
  kj::Vector<kj::Promise<void>> pending;
  for (int i = 0; i < std::atoi(argv[3]); i++) {
    auto call = KJ_ASSERT_NONNULL(sink).putRequest();
    call.initData(200);
    pending.add(call.send().ignoreResult());
  }
  client->getIoProvider().getTimer().afterDelay(50 * kj::MILLISECONDS).wait(scope);
  std::printf("queued\n");
  std::fflush(stdout);

  awaitLine();
  pending.clear();
  sink = nullptr;
  client = nullptr;
}
