#include "client/commands/many_calls.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/call_status.h"
#include "client/terminal_text.h"

namespace peerage::client {

Json ErrorJson(const absl::Status& status) {
  return {{"code", absl::StatusCodeToString(status.code())}, {"message", DescribeError(status)}};
}

void PrintFailure(size_t line, const absl::Status& status) {
  std::cerr << "peerage: line " << line << ": " << EscapeText(DescribeError(status)) << "\n";
}

}  // namespace peerage::client
