#pragma once

#include <httplib.h>

#include "absl/strings/string_view.h"
#include "server/http/answer_buffer.h"

namespace peerage {

// What the library reads of a request that is there, and writes into an answer that somebody else
// sends.
class RequestStream final : public httplib::Stream {
 public:
  RequestStream(absl::string_view request, AnswerBuffer* answer)
      : request_(request), answer_(answer) {}

  bool is_readable() const override { return !request_.empty(); }
  bool is_writable() const override { return answer_->has_listener(); }
  ssize_t read(char* into, size_t size) override {
    const size_t bytes = request_.copy(into, size);
    request_.remove_prefix(bytes);
    return static_cast<ssize_t>(bytes);
  }
  ssize_t write(const char* from, size_t size) override {
    return answer_->Write({from, size}) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  absl::string_view request_;
  AnswerBuffer* const answer_;
};

// The library's parser and dispatcher, without its sockets.
class HttpLibrary final : public httplib::Server {
 public:
  HttpLibrary() { svr_sock_ = 0; }  // streams go on while there is one

  // Reads a request and writes its answer. Safe from many threads.
  void Answer(absl::string_view request, AnswerBuffer& answer) {
    RequestStream stream(request, &answer);
    bool closed = false;
    process_request(stream, /*close_connection=*/true, closed, nullptr);
  }

  // Streams end.
  void EndStreams() { svr_sock_ = INVALID_SOCKET; }
};

}  // namespace peerage
