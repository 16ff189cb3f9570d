#pragma once

#include "server/log/log.h"

namespace peerage {

// While it lives, what gRPC itself has to say is a limited line of the log: escaped, because gRPC
// writes header values of strangers as they are. Nobody hears what it says at other times. Of two
// at once the younger gets everything.
//
// Only what gRPC calls errors is asked for, whatever GRPC_VERBOSITY says: with its tracers on, the
// rest would show messages, which hold prompts.
class GrpcLog {
 public:
  // `log` must outlive it.
  explicit GrpcLog(Log* log);
  ~GrpcLog();

  GrpcLog(const GrpcLog&) = delete;
  GrpcLog& operator=(const GrpcLog&) = delete;

 private:
  Log* const log_;
};

}  // namespace peerage
