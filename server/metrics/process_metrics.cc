#include "server/metrics/process_metrics.h"

#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace peerage {
namespace {

using prometheus::MetricType;

// /proc/self/stat behind the command, which is in brackets and may hold anything: field 3 is the
// first (proc(5)).
std::vector<double> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream rest(line.substr(line.rfind(')') + 2));
  std::string state;
  rest >> state;
  std::vector<double> fields = {0};
  for (double field = 0; rest >> field;) fields.push_back(field);
  return fields;
}

// Seconds since 1970 when the machine was started.
double BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("btime ", 0) == 0) return std::stod(line.substr(6));
  }
  return 0;
}

double OpenFiles() {
  double count = -1;  // the one that reads the folder
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count;
}

double MaxFiles() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  std::vector<prometheus::MetricFamily> families;
  const auto add = [&](MetricType type, const char* name, const char* help, double value) {
    prometheus::ClientMetric metric;
    metric.label = {{"model_name", model_name_}};
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    families.push_back({name, help, type, {metric}});
  };
  const std::vector<double> stat = StatFields();
  const auto field = [&stat](size_t number) {  // as proc(5) numbers them
    return number - 3 < stat.size() ? stat[number - 3] : 0;
  };
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  add(MetricType::Gauge, "process_resident_memory_bytes", "Resident memory.",
      field(24) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  add(MetricType::Counter, "process_cpu_seconds_total", "Processor time, user and system.",
      (field(14) + field(15)) / ticks);
  add(MetricType::Gauge, "process_open_fds", "Open file descriptors.", OpenFiles());
  add(MetricType::Gauge, "process_max_fds", "Limit of open file descriptors.", MaxFiles());
  add(MetricType::Gauge, "process_threads", "Threads.", field(20));
  add(MetricType::Gauge, "process_start_time_seconds", "Start, in seconds since 1970.",
      BootTime() + field(22) / ticks);
  return families;
}

}  // namespace peerage
