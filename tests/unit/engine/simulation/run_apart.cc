#include "tests/unit/engine/simulation/run_apart.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

constexpr unsigned kHangSeconds = 20;  // a world takes milliseconds

[[noreturn]] void RunAndTell(const std::function<std::string()>& run, int out) {
  for (int signal : {SIGABRT, SIGSEGV, SIGFPE}) std::signal(signal, SIG_DFL);
  const bool is_quiet = std::freopen("/dev/null", "w", stderr) != nullptr;
  alarm(kHangSeconds);
  const std::string result = run();
  const ssize_t written = write(out, result.data(), result.size());
  _exit(is_quiet && written == static_cast<ssize_t>(result.size()) ? 0 : 1);
}

std::string ReadAll(int in) {
  std::string all;
  std::array<char, 4096> buffer;
  for (ssize_t size; (size = read(in, buffer.data(), buffer.size())) > 0;) {
    all.append(buffer.data(), size);
  }
  return all;
}

}  // namespace

std::string RunApart(const std::function<std::string()>& run) {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return "there is no pipe";
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) RunAndTell(run, ends[1]);
  close(ends[1]);
  std::string result = child < 0 ? "there is no process" : ReadAll(ends[0]);
  close(ends[0]);
  if (child < 0) return result;
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return absl::StrCat("the process dies of signal ", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return "the process fails";
  return result;
}

}  // namespace peerage
