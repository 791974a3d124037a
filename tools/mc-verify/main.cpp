#include "mc-verify/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-verify", "Check a recording, and that a server holds the same.", argc, argv,
                           mc::tool_verify::run);
}
