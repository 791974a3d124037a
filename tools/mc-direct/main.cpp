#include "mc-direct/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-direct",
                           "Direct a session: start everybody, stop everybody, and know what became of it.", argc, argv,
                           mc::tool_direct::run);
}
