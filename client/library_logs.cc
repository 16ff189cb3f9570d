#include "client/library_logs.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

namespace peerage::client {

void SilenceLibraries() {
  gpr_set_log_function([](gpr_log_func_args*) {});
  google::protobuf::SetLogHandler(nullptr);
}

}  // namespace peerage::client
