#pragma once

#include <string>

namespace peerage {

// Where a request comes from: what a log tells of it, and nothing depends on. Texts may be a
// stranger's.
struct RequestOrigin {
  std::string method;      // of gRPC: "peerage.v1.InferenceService/Generate"
  std::string request_id;  // empty when the client's was refused
  // Of W3C Trace Context, in hex; empty when the client told of no trace.
  std::string trace_id;
  std::string span_id;    // the caller's
  std::string principal;  // who called; empty where nobody asks for credentials
};

}  // namespace peerage
