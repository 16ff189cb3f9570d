#include "server/pages/static_files.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/pages/page_files.h"

namespace peerage {
namespace {

const char* TypeOf(absl::string_view name) {
  if (absl::EndsWith(name, ".html")) return "text/html; charset=utf-8";
  if (absl::EndsWith(name, ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(name, ".svg")) return "image/svg+xml";
  return "text/javascript; charset=utf-8";
}

std::string PathOf(absl::string_view name) {
  if (absl::ConsumeSuffix(&name, ".html")) return absl::StrCat("/", name);
  return absl::StrCat("/pages/", name);
}

}  // namespace

void AddStaticFiles(AdminServer& server) {
  for (const PageFile& file : PageFiles()) {
    server.Handle(PathOf(file.name), [&file](const AdminRequest&) {
      return AdminResponse{
          .content_type = TypeOf(file.name),
          .body = file.text,
          .headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                       "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'"},
                      {"Referrer-Policy", "no-referrer"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cache-Control", "no-cache"}}};
    });
  }
}

}  // namespace peerage
