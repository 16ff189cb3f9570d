#include "server/http/admin_server.h"

#include <httplib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "server/door/connection_limits.h"
#include "server/door/event_loop.h"
#include "server/door/listener.h"
#include "server/http/admin_connection.h"
#include "server/http/http_library.h"
#include "server/http/post_check.h"

namespace peerage {
namespace {

constexpr int kThreads = 2;  // for what is not streamed
constexpr absl::Duration kTick = absl::Milliseconds(250);

void NotFound(httplib::Response& response) { response.status = 404; }

AdminRequest ToAdminRequest(const httplib::Request& request) {
  return {.path = request.path,
          .parameters = {request.params.begin(), request.params.end()},
          .known_tag = request.get_header_value("If-None-Match")};
}

// Whether there is all of a body. The library limits what the headers say of it, and sets a
// status for what it does not like, but limits neither chunks nor what they decompress to.
bool ReadBody(const httplib::ContentReader& reader, std::string& body,
              httplib::Response& response) {
  const bool complete = reader([&](const char* part, size_t size) {
    body.append(part, size);
    return body.size() <= AdminServer::kMaxBodyBytes;
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

// The loop has the sockets, a few threads make the answers.
class AdminServer::Port {
 public:
  Port() {
    library_.set_payload_max_length(kMaxBodyBytes);
    // One pattern for all: the library's own routes are fixed.
    library_.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
      const AdminRoute route = FindRoute(request);
      if (route == nullptr) return NotFound(response);
      Write(route(ToAdminRequest(request)), response);
    });
    library_.Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                               const httplib::ContentReader& reader) {
      AnswerPost(request, reader, response);
    });
  }

  // Nothing is answered any more before the routes go.
  ~Port() {
    if (loop_ == nullptr) return;
    library_.EndStreams();
    loop_->Run([this] { listener_->Stop(); });
    // What is being answered is made, and given to the system to be sent where it takes it.
    answerers_->shutdown();
    loop_->Run([this] {
      tick_.reset();
      connections_.clear();
    });
    loop_.reset();
  }

  void Handle(absl::string_view method, absl::string_view path, AdminRoute route) {
    absl::MutexLock lock(&mu_);
    routes_[absl::StrCat(method, " ", path)] = std::move(route);
  }

  absl::Status Listen(const ListenAddress& address) {
    ASSIGN_OR_RETURN(listener_, Listener::Bind(address));
    ASSIGN_OR_RETURN(loop_, EventLoop::Start());
    address_ = listener_->address();
    answerers_ = std::make_unique<httplib::ThreadPool>(kThreads + kMaxStreams);
    loop_->Run([this] {
      tick_ = loop_->Every(kTick, &tick_callback_);
      listener_->Start(
          *loop_,
          [this](Descriptor client, const ConnectionInfo& info) {
            LetIn(std::move(client), PeerOf(info.address));
          },
          [](const ConnectionInfo&) {});
    });
    return absl::OkStatus();
  }

  const ListenAddress& address() const { return address_; }

 private:
  struct Connected {
    std::string peer;
    std::unique_ptr<AdminConnection> connection;
  };

  void LetIn(Descriptor client, const std::string& peer) {
    std::vector<AdminPlace> places;
    for (const auto& [id, one] : connections_)
      places.push_back(one.connection->place(id, one.peer));
    const Admission admission = Admit(peer, places);
    if (!admission.may_come) return;
    if (admission.goes.has_value()) connections_.erase(*admission.goes);
    const uint64_t id = next_id_++;
    const auto on_loop = [this, id](void (AdminConnection::*what)()) {
      loop_->Post([this, id, what] {
        const auto found = connections_.find(id);
        if (found != connections_.end()) (found->second.connection.get()->*what)();
      });
    };
    connections_[id] = {
        peer,
        std::make_unique<AdminConnection>(AdminConnection::Parts{
            .loop = loop_.get(),
            .clock = &Clock::Real(),
            .client = std::make_unique<PlainStream>(std::move(client)),
            .max_body_bytes = kMaxBodyBytes,
            .answer = [this](
                          const std::string& request,
                          const std::shared_ptr<AnswerBuffer>& answer) { Answer(request, answer); },
            .buffer =
                std::make_shared<AnswerBuffer>([on_loop] { on_loop(&AdminConnection::Send); }),
            .on_end = [this, id] { loop_->Post([this, id] { connections_.erase(id); }); }})};
  }

  void Answer(const std::string& request, const std::shared_ptr<AnswerBuffer>& answer) {
    answerers_->enqueue([this, request, answer] {
      // About a tenth of a core beside an engine that wants all of it, so that scrapes take no time
      // from steps. On Linux priorities are threads'; a failure costs nothing but the priority.
      setpriority(PRIO_PROCESS, gettid(), 10);
      library_.Answer(request, *answer);
      answer->Finish();
    });
  }

  void Tick() {
    for (const auto& [id, one] : connections_) one.connection->OnTick();
    listener_->OnTick();
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
  HttpLibrary library_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<httplib::ThreadPool> answerers_;
  // Of the loop's thread.
  std::map<uint64_t, Connected> connections_;
  uint64_t next_id_ = 0;
  const std::function<void()> tick_callback_ = [this] { Tick(); };
  Event tick_;

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

absl::Status AdminServer::Listen(const ListenAddress& address) { return port_->Listen(address); }

const ListenAddress& AdminServer::address() const { return port_->address(); }

}  // namespace peerage
