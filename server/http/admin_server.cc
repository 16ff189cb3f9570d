#include "server/http/admin_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kPlainText[] = "text/plain; charset=utf-8";

class HttplibAdminServer : public AdminServer {
 public:
  explicit HttplibAdminServer(AdminSources sources) : sources_(std::move(sources)) {
    Configure();
    AddRoutes();
  }

  ~HttplibAdminServer() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  bool Bind(const ListenAddress& address) {
    address_ = address;
    if (address.port == 0) {
      address_.port = server_.bind_to_any_port(address.host);
      return address_.port > 0;
    }
    return server_.bind_to_port(address.host, address.port);
  }

  void Serve() {
    thread_ = std::thread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
    // stop() has no effect on a server whose loop has not begun.
    while (!server_.is_running() && !ended_) std::this_thread::yield();
  }

  ListenAddress address() const override { return address_; }

 private:
  void Configure() {
    server_.new_task_queue = [] { return new httplib::ThreadPool(2); };
    // Not the library's SO_REUSEPORT, which shares a busy port without a word.
    server_.set_socket_options([](socket_t socket) {
      const int on = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    // A connection holds a thread: one request each, and a second to send it.
    server_.set_keep_alive_max_count(1);
    server_.set_keep_alive_timeout(1);
    server_.set_read_timeout(1);
    server_.set_write_timeout(2);
    server_.set_payload_max_length(0);
  }

  void AddRoutes() {
    server_.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", kPlainText);
    });
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const bool ready = sources_.ready();
      response.status = ready ? 200 : 503;
      response.set_content(ready ? "ready\n" : "not ready\n", kPlainText);
    });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(sources_.metrics(), kMetricsType);
    });
  }

  const AdminSources sources_;
  ListenAddress address_;
  httplib::Server server_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(const ListenAddress& address,
                                                                AdminSources sources) {
  auto server = std::make_unique<HttplibAdminServer>(std::move(sources));
  errno = 0;
  if (!server->Bind(address)) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.ToString(),
                     errno == 0 ? std::string() : absl::StrCat(": ", std::strerror(errno))));
  }
  server->Serve();
  return server;
}

}  // namespace peerage
