#include "mc-push/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-push", "Bring a recording, or a whole spool, to the server until it is Synced.", argc,
                           argv, mc::tool_push::run);
}
