#include "server/http/admin_server.h"

#include <httplib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/http/post_check.h"

namespace peerage {
namespace {

constexpr int kThreads = 2;  // for what is not streamed
constexpr auto kBodyTimeout = std::chrono::seconds(2);

void NotFound(httplib::Response& response) { response.status = 404; }

AdminRequest ToAdminRequest(const httplib::Request& request) {
  return {.path = request.path,
          .parameters = {request.params.begin(), request.params.end()},
          .known_tag = request.get_header_value("If-None-Match")};
}

// Whether all of a body came in time. The library limits what the headers say of it, and sets a
// status for what it does not like, but limits neither chunks nor what they decompress to.
bool ReadBody(const httplib::ContentReader& reader, std::string& body,
              httplib::Response& response) {
  const auto deadline = std::chrono::steady_clock::now() + kBodyTimeout;
  const bool complete = reader([&](const char* part, size_t size) {
    body.append(part, size);
    return body.size() <= AdminServer::kMaxBodyBytes && std::chrono::steady_clock::now() < deadline;
  });
  if (body.size() > AdminServer::kMaxBodyBytes) response.status = 413;
  return complete;
}

// The library asks for parts until there are none, and looks at the peer only when it writes.
bool WritePart(AdminStream& stream, httplib::DataSink& sink) {
  const std::optional<std::string> part = stream.Next();
  if (!part.has_value()) {
    sink.done();
    return true;
  }
  if (!sink.is_writable()) return false;
  return part->empty() || sink.write(part->data(), part->size());
}

void Write(const AdminResponse& answer, httplib::Response& response) {
  response.status = answer.status;
  for (const auto& [name, value] : answer.headers) {
    response.set_header(name.c_str(), value.c_str());
  }
  if (answer.stream != nullptr) {
    response.set_chunked_content_provider(
        answer.content_type.c_str(), [stream = answer.stream](size_t, httplib::DataSink& sink) {
          return WritePart(*stream, sink);
        });
  } else if (answer.status != 304) {
    response.set_content(answer.body, answer.content_type.c_str());
  }
}

}  // namespace

// The library's server, with our limits and our routes.
class AdminServer::Port {
 public:
  Port() {
    Configure();
    // One pattern for all: the library's own routes are fixed once it listens.
    server_.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
      const AdminRoute route = FindRoute(request);
      if (route == nullptr) return NotFound(response);
      Write(route(ToAdminRequest(request)), response);
    });
    server_.Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                              const httplib::ContentReader& reader) {
      AnswerPost(request, reader, response);
    });
  }

  ~Port() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  void Handle(absl::string_view method, absl::string_view path, AdminRoute route) {
    absl::MutexLock lock(&mu_);
    routes_[absl::StrCat(method, " ", path)] = std::move(route);
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
      // The threads that answer have what this one has: about a tenth of a core beside an engine
      // that wants all of it, so that scrapes take no time from steps. On Linux priorities are
      // threads'; a failure costs nothing but the priority.
      setpriority(PRIO_PROCESS, gettid(), 10);
      server_.listen_after_bind();
      ended_ = true;
    });
    // stop() has no effect on a server whose loop has not begun.
    while (!server_.is_running() && !ended_) std::this_thread::yield();
  }

  const ListenAddress& address() const { return address_; }

 private:
  void Configure() {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads + kMaxStreams); };
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
    server_.set_payload_max_length(kMaxBodyBytes);
  }

  AdminRoute FindRoute(const httplib::Request& request) {
    absl::MutexLock lock(&mu_);
    const auto found = routes_.find(absl::StrCat(request.method, " ", request.path));
    return found == routes_.end() ? nullptr : found->second;
  }

  void AnswerPost(const httplib::Request& request, const httplib::ContentReader& reader,
                  httplib::Response& response) {
    const AdminRoute route = FindRoute(request);
    if (route == nullptr) return NotFound(response);
    const PostHeaders headers = {.content_type = request.get_header_value("Content-Type"),
                                 .host = request.get_header_value("Host"),
                                 .origin = request.get_header_value("Origin"),
                                 .fetch_site = request.get_header_value("Sec-Fetch-Site")};
    if (const auto refusal = RefusePost(headers, address_)) return Write(*refusal, response);
    AdminRequest post = ToAdminRequest(request);
    if (ReadBody(reader, post.body, response)) Write(route(post), response);
  }

  ListenAddress address_;
  httplib::Server server_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;

  absl::Mutex mu_;
  std::map<std::string, AdminRoute> routes_ ABSL_GUARDED_BY(mu_);  // by "GET /metrics"
};

AdminServer::AdminServer() : port_(std::make_unique<Port>()) {}

AdminServer::~AdminServer() = default;

void AdminServer::Handle(absl::string_view path, AdminRoute route) {
  port_->Handle("GET", path, std::move(route));
}

void AdminServer::HandlePost(absl::string_view path, AdminRoute route) {
  port_->Handle("POST", path, std::move(route));
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
