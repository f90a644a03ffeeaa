//===- args.cpp - command lines of the small tools --------------------------===//

#include "tools/common/args.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <new>

namespace nnopt {

void Args::add(const std::string &name, Option option) {
  order.push_back(name);
  options[name] = std::move(option);
}

void Args::flag(const std::string &name, const std::string &help, bool &to) {
  add(name, {"", help, true, [&to, name](const std::string &v) {
               if (!v.empty())
                 throw usageError(name + " takes no value");
               to = true;
             }});
}

void Args::text(const std::string &name, const std::string &metavar, const std::string &help,
                std::string &to) {
  add(name, {metavar, help, false, [&to, name](const std::string &v) {
               if (v.empty())
                 throw usageError(name + " needs a value");
               to = v;
             }});
}

void Args::optionalText(const std::string &name, const std::string &metavar,
                        const std::string &help, bool &given, std::string &to) {
  add(name, {"[=" + metavar + "]", help, true, [&given, &to](const std::string &v) {
               given = true;
               to = v;
             }});
}

static int64_t parseInteger(const std::string &name, const std::string &v) {
  char *end;
  errno = 0;
  long long value = std::strtoll(v.c_str(), &end, 10);
  if (v.empty() || *end || errno)
    throw usageError(name + ": '" + v + "' is not a whole number");
  return value;
}

void Args::number(const std::string &name, const std::string &metavar, const std::string &help,
                  int &to, int low) {
  add(name, {metavar, help, false, [&to, name, low](const std::string &v) {
               int64_t value = parseInteger(name, v);
               if (value < low || value > 1000000000)
                 throw usageError(name + ": " + v + " is out of range; it must be at least " +
                                  std::to_string(low));
               to = static_cast<int>(value);
             }});
}

void Args::real(const std::string &name, const std::string &metavar, const std::string &help,
                double &to) {
  add(name, {metavar, help, false, [&to, name](const std::string &v) {
               char *end;
               double value = std::strtod(v.c_str(), &end);
               if (v.empty() || *end || !(value >= 0))
                 throw usageError(name + ": '" + v + "' is not a number of at least 0");
               to = value;
             }});
}

void Args::dim(std::map<std::string, int64_t> &to) {
  add("--dim",
      {"NAME=VALUE", "size of a symbolic dimension of random inputs (default 1); repeatable", false,
       [&to](const std::string &v) {
         size_t split = v.rfind('=');
         if (split == std::string::npos || split == 0)
           throw usageError("--dim: '" + v + "' is not NAME=VALUE");
         int64_t value = parseInteger("--dim", v.substr(split + 1));
         if (value < 0)
           throw usageError("--dim: " + v + " is negative");
         to[v.substr(0, split)] = value;
       }});
}

void Args::printHelp() const {
  std::printf("%s\n\nOptions (as --name=VALUE or --name VALUE):\n", usage.c_str());
  auto line = [](const std::string &left, const std::string &help) {
    std::printf("  %-26s %s\n", left.c_str(), help.c_str());
  };
  for (const std::string &name : order) {
    const Option &option = options.at(name);
    std::string left = name;
    for (const auto &[other, target] : aliases)
      if (target == name)
        left = other + ", " + left;
    left +=
        option.metavar.empty() || option.metavar[0] == '[' ? option.metavar : "=" + option.metavar;
    line(left, option.help);
  }
  line("--help", "this text");
  line("--version", "versions and the CPU");
  std::printf("\n%s", examples.c_str());
}

void Args::printVersion() const {
  std::string cpu, row;
  std::ifstream info("/proc/cpuinfo");
  while (cpu.empty() && std::getline(info, row))
    if (row.rfind("model name", 0) == 0 && row.find(':') != std::string::npos)
      cpu = row.substr(row.find(':') + 2);
  std::printf(
      "%s %s\n  runtime ABI: %d\n  compiler built with LLVM %s\n  host CPU: %s\n  targets that run "
      "here: %s\n  default threads: %d\n",
      tool.c_str(), NNOPT_VERSION, nnopt_abi_version(), NNOPT_LLVM_VERSION,
      cpu.empty() ? "unknown" : cpu.c_str(), nnopt_host_cpu(), nnopt_default_threads());
}

std::vector<std::string> Args::parse(int argc, char **argv) const {
  std::vector<std::string> positional;
  bool onlyPositional = false;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    if (onlyPositional || arg.size() < 2 || arg[0] != '-') {
      positional.push_back(arg);
      continue;
    }
    if (arg == "--") {
      onlyPositional = true;
      continue;
    }
    size_t equals = arg.find('=');
    bool hasValue = equals != std::string::npos;
    std::string name = arg.substr(0, equals), value = hasValue ? arg.substr(equals + 1) : "";
    if (name == "--help" || name == "-h") {
      printHelp();
      std::exit(0);
    }
    if (name == "--version") {
      printVersion();
      std::exit(0);
    }
    if (auto other = aliases.find(name); other != aliases.end())
      name = other->second;
    auto found = options.find(name);
    if (found == options.end())
      throw usageError("unknown option " + name + "; " + tool + " --help lists all");
    const Option &option = found->second;
    if (!hasValue && !option.valueOptional) {
      if (i + 1 == argc)
        throw usageError(name + " needs a value (" + name + "=" + option.metavar + ")");
      value = argv[++i];
    }
    option.set(value);
  }
  return positional;
}

int runTool(const char *tool, const std::function<int()> &body) {
  int status;
  try {
    status = body();
  } catch (const ToolError &e) {
    std::fprintf(stderr, "%s: error: %s\n", tool, e.what());
    status = e.status();
  } catch (const std::bad_alloc &) {
    std::fprintf(stderr, "%s: error: out of memory\n", tool);
    status = 1;
  } catch (const std::exception &e) {
    std::fprintf(stderr, "%s: error: internal: %s\n", tool, e.what());
    status = 1;
  }
  // A full disk shows when buffers are written.
  if (std::fflush(stdout) != 0 && status == 0) {
    std::fprintf(stderr, "%s: error: standard output cannot be written\n", tool);
    status = 1;
  }
  return status;
}

} // namespace nnopt
