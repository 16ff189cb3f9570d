#include "server/log/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/ostream_sink.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

constexpr size_t kMaxWaitingLines = 2048;

// The library writes the time, and ends the line.
constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z",%v})";

}  // namespace

// A bounded queue and the thread that empties it.
class Log::Writer {
 public:
  Writer(LogFormat format, std::ostream& out)
      : thread_(std::make_shared<spdlog::details::thread_pool>(kMaxWaitingLines, 1)),
        logger_(std::make_shared<spdlog::async_logger>(
            "peerage", std::make_shared<spdlog::sinks::ostream_sink_st>(out, /*force_flush=*/true),
            thread_, spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_pattern(format == LogFormat::kJson ? kJsonPattern : kTextPattern);
    // Else the library would say on stderr what went wrong in writing there.
    logger_->set_error_handler([](const std::string&) {});
  }

  // Not the library's overload that takes a format: lines have braces of strangers.
  void Write(const std::string& line) {
    logger_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const std::shared_ptr<spdlog::details::thread_pool> thread_;  // the logger only looks at it
  const std::shared_ptr<spdlog::logger> logger_;
};

Log::Log(const LogOptions& options, const Clock* clock, std::ostream* out)
    : format_(options.format),
      clock_(clock),
      level_(options.level),
      budget_(options.lines_per_second),
      writer_(std::make_unique<Writer>(options.format, *out)) {}

Log::~Log() { TellLeftOutBefore(absl::InfiniteFuture()); }

void Log::Write(LogLevel level, absl::string_view message, const std::vector<LogField>& fields) {
  if (Shows(level)) Put(level, message, fields);
}

void Log::SetLevel(LogLevel level) {
  level_ = level;
  Put(LogLevel::kInfo, absl::StrCat("log level: ", ChoiceName(kLogLevels, level)), {});
}

void Log::Put(LogLevel level, absl::string_view message, const std::vector<LogField>& fields) {
  writer_->Write(format_ == LogFormat::kJson ? JsonMembers(level, message, fields)
                                             : TextLine(level, message, fields));
}

void Log::WriteLimited(absl::string_view kind, LogLevel level, absl::string_view message,
                       const std::vector<LogField>& fields) {
  if (!Shows(level)) return;
  TellLeftOut();
  if (budget_.Take(kind, clock_->Now())) Put(level, message, fields);
}

void Log::TellLeftOut() { TellLeftOutBefore(clock_->Now()); }

// Whatever the level: the lines themselves would have been shown.
void Log::TellLeftOutBefore(absl::Time end) {
  for (LineBudget::LeftOut& left_out : budget_.TakeLeftOut(end)) {
    Put(LogLevel::kWarn, "lines left out",
        {{"kind", std::move(left_out.kind)}, {"lines", left_out.lines}});
  }
}

}  // namespace peerage
