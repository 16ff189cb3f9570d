#include "server/http/admin_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace peerage {

// The library's server, with our limits and our routes.
class AdminServer::Port {
 public:
  Port() {
    Configure();
    // One pattern for all: the library's own routes are fixed once it listens.
    server_.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
      Answer(request, response);
    });
  }

  ~Port() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  void Handle(std::string path, AdminRoute route) {
    absl::MutexLock lock(&mu_);
    routes_[std::move(path)] = std::move(route);
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

  const ListenAddress& address() const { return address_; }

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

  AdminRoute FindRoute(const std::string& path) {
    absl::MutexLock lock(&mu_);
    const auto found = routes_.find(path);
    return found == routes_.end() ? nullptr : found->second;
  }

  void Answer(const httplib::Request& request, httplib::Response& response) {
    const AdminRoute route = FindRoute(request.path);
    if (route == nullptr) {
      response.status = 404;
      return;
    }
    const AdminResponse answer =
        route({.path = request.path,
               .parameters = {request.params.begin(), request.params.end()},
               .known_tag = request.get_header_value("If-None-Match")});
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) {
      response.set_header(name.c_str(), value.c_str());
    }
    if (answer.status != 304) response.set_content(answer.body, answer.content_type.c_str());
  }

  ListenAddress address_;
  httplib::Server server_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;

  absl::Mutex mu_;
  std::map<std::string, AdminRoute> routes_ ABSL_GUARDED_BY(mu_);
};

AdminServer::AdminServer() : port_(std::make_unique<Port>()) {}

AdminServer::~AdminServer() = default;

void AdminServer::Handle(std::string path, AdminRoute route) {
  port_->Handle(std::move(path), std::move(route));
}

absl::Status AdminServer::Listen(const ListenAddress& address) {
  errno = 0;
  if (!port_->Bind(address)) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.ToString(),
                     errno == 0 ? std::string() : absl::StrCat(": ", std::strerror(errno))));
  }
  port_->Serve();
  return absl::OkStatus();
}

const ListenAddress& AdminServer::address() const { return port_->address(); }

}  // namespace peerage
