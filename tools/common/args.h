//===- args.h - command lines of the small tools ----------------*- C++ -*-===//
//
// Options are `--name=value` or `--name value`; short ones `-o value`. An option with an optional
// value takes it with `=` only. Mistakes end with exit status 2 and say what would be right.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_TOOLS_COMMON_ARGS_H
#define NNOPT_TOOLS_COMMON_ARGS_H

#include "tools/common/tensor.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nnopt {

class Args {
public:
  /// `usage` is the text that --help prints in front of the options, `examples` what comes after.
  Args(std::string tool, std::string usage, std::string examples)
      : tool(std::move(tool)), usage(std::move(usage)), examples(std::move(examples)) {}

  void flag(const std::string &name, const std::string &help, bool &to);
  void text(const std::string &name, const std::string &metavar, const std::string &help,
            std::string &to);
  void number(const std::string &name, const std::string &metavar, const std::string &help, int &to,
              int low);
  void real(const std::string &name, const std::string &metavar, const std::string &help,
            double &to);
  /// May be given without a value; `given` says whether it was there.
  void optionalText(const std::string &name, const std::string &metavar, const std::string &help,
                    bool &given, std::string &to);
  /// NAME=VALUE, repeatable.
  void dim(std::map<std::string, int64_t> &to);
  /// Another spelling: alias("-o", "--outputs").
  void alias(const std::string &other, const std::string &name) { aliases[other] = name; }

  /// Returns the positional arguments; handles --help and --version (then exits with 0).
  std::vector<std::string> parse(int argc, char **argv) const;

private:
  struct Option {
    std::string metavar, help;
    bool valueOptional;
    std::function<void(const std::string &)> set;
  };
  void add(const std::string &name, Option option);
  void printHelp() const;
  void printVersion() const;

  std::string tool, usage, examples;
  std::vector<std::string> order;
  std::map<std::string, Option> options;
  std::map<std::string, std::string> aliases;
};

/// A mistake on the command line: exit status 2.
inline ToolError usageError(const std::string &message) { return ToolError(2, message); }

/// Runs a tool's main function: prints errors as `TOOL: error: message` and returns the exit
/// status.
int runTool(const char *tool, const std::function<int()> &body);

} // namespace nnopt

#endif
