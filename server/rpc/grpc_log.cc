#include "server/rpc/grpc_log.h"

#include <grpc/support/log.h>

#include <string>

#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace peerage {
namespace {

constexpr size_t kMaxGrpcTextBytes = 512;

ABSL_CONST_INIT absl::Mutex mu(absl::kConstInit);
Log* hearer ABSL_GUARDED_BY(mu) = nullptr;

std::string SourceOf(const gpr_log_func_args& line) {
  const absl::string_view path = line.file;
  const size_t slash = path.rfind('/');
  return absl::StrCat(slash == absl::string_view::npos ? path : path.substr(slash + 1), ":",
                      line.line);
}

void Hear(gpr_log_func_args* line) {
  absl::MutexLock lock(&mu);
  if (hearer == nullptr) return;
  // An error of gRPC's is most often a client's, such as a header that is out of range.
  hearer->WriteLimited(
      "grpc", LogLevel::kWarn, "grpc",
      {{"source", SourceOf(*line)},
       {"text", std::string(absl::string_view(line->message).substr(0, kMaxGrpcTextBytes))}});
}

}  // namespace

GrpcLog::GrpcLog(Log* log) : log_(log) {
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  gpr_set_log_function(Hear);
  absl::MutexLock lock(&mu);
  hearer = log;
}

GrpcLog::~GrpcLog() {
  absl::MutexLock lock(&mu);
  if (hearer == log_) hearer = nullptr;
}

}  // namespace peerage
